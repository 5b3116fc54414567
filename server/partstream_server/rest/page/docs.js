// The page of the API, made from the service's own description.

const at = (id) => document.getElementById(id);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(heads, rows) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const text of heads) head.append(Object.assign(element("th", text), { scope: "col" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) line.insertCell().textContent = text;
  }
  return made;
}

const kind = (schema = {}) => schema.type || (schema.anyOf || []).map(kind).filter((one) => one !== "null").join(" or ")
  || (schema.$ref || "").split("/").pop();

function operation(path, method, what) {
  const made = element("article");
  const title = element("h2");
  title.append(element("span", method.toUpperCase(), "method"), element("code", path));
  made.append(title);
  for (const text of (what.description || what.summary || "").split("\n\n")) made.append(element("p", text.replaceAll("\n", " ")));
  if (what.parameters) {
    const rows = what.parameters.map((one) => [one.name, one.in, kind(one.schema), `${one.schema.default ?? ""}`, one.description || ""]);
    made.append(element("h3", "Options"), table(["Name", "In", "Kind", "Default", "Meaning"], rows));
  }
  if (what.requestBody) {
    made.append(element("h3", "Body"), element("p", what.requestBody.description || ""));
    made.append(element("pre", Object.keys(what.requestBody.content).join("\n")));
  }
  const answers = Object.entries(what.responses).map(([status, one]) => [status, one.description || "", Object.keys(one.content || {}).join(", ")]);
  made.append(element("h3", "Answers"), table(["Status", "Meaning", "Content"], answers));
  return made;
}

const answer = await fetch("openapi.json");
if (answer.ok) {
  const described = await answer.json();
  at("about").textContent = `Version ${described.info.version}. ${described.info.description}`;
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, what] of Object.entries(methods)) at("operations").append(operation(path, method, what));
  }
} else {
  at("error").textContent = `The server answered ${answer.status}.`;
}
