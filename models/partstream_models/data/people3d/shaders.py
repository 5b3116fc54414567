"""The shader programs of the renderer (GLSL 3.3)."""

from typing import Final

SHADOW_VERTEX: Final = """
#version 330
in vec3 in_position;
in vec2 in_uv;
in float in_cut;
uniform mat4 u_light;
out vec2 v_uv;
out float v_cut;
void main() {
    gl_Position = u_light * vec4(in_position, 1.0);
    v_uv = in_uv;
    v_cut = in_cut;
}
"""

SHADOW_FRAGMENT: Final = """
#version 330
in vec2 v_uv;
in float v_cut;
uniform sampler2D u_texture;
uniform int u_kind;
void main() {
    if (v_cut < 0.0) discard;
    if (u_kind == 2 && texture(u_texture, v_uv).a < 0.5) discard;
}
"""

DEPTH_VERTEX: Final = """
#version 430
in vec3 in_position;
in vec2 in_uv;
in float in_cut;
uniform mat4 u_camera;
uniform vec3 u_eye;
uniform float u_lift;
out vec2 v_uv;
out float v_cut;
invariant gl_Position;
void main() {
    vec3 moved = in_position + normalize(u_eye - in_position) * u_lift;
    gl_Position = u_camera * vec4(in_position, 1.0);
    vec4 lifted = u_camera * vec4(moved, 1.0);
    gl_Position.z = lifted.z / lifted.w * gl_Position.w;
    v_uv = in_uv;
    v_cut = in_cut;
}
"""
"""Depth alone comes first, so that the costly program runs for what is seen."""

DEPTH_FRAGMENT: Final = """
#version 430
in vec2 v_uv;
in float v_cut;
uniform sampler2D u_texture;
uniform int u_kind;
float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
void main() {
    if (v_cut < 0.0) discard;
    if (u_kind == 2 && texture(u_texture, v_uv).a < 0.25 + 0.4 * hash(gl_FragCoord.xy)) discard;
    if (u_kind == 0 && texture(u_texture, v_uv).a < 0.4) discard;
}
"""

VERTEX: Final = """
#version 430
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
in vec3 in_rest;
in vec3 in_rest_normal;
in float in_label;
uniform mat4 u_camera;
uniform mat4 u_light;
uniform vec3 u_eye;
uniform float u_lift;   // metres towards the camera: what is worn outside wins against what is below it
out vec3 v_position;
out vec3 v_normal;
out vec2 v_uv;
out vec3 v_rest;
out vec3 v_rest_normal;
out vec4 v_shadow;
invariant gl_Position;
flat out float v_label;
void main() {
    vec3 moved = in_position + normalize(u_eye - in_position) * u_lift;
    gl_Position = u_camera * vec4(in_position, 1.0);
    vec4 lifted = u_camera * vec4(moved, 1.0);
    gl_Position.z = lifted.z / lifted.w * gl_Position.w;
    v_position = in_position;
    v_normal = in_normal;
    v_uv = in_uv;
    v_rest = in_rest;
    v_rest_normal = in_rest_normal;
    v_shadow = u_light * vec4(in_position, 1.0);
    v_label = in_label;
}
"""

FRAGMENT: Final = """
#version 430
layout(early_fragment_tests) in;
in vec3 v_position;
in vec3 v_normal;
in vec2 v_uv;
in vec3 v_rest;
in vec3 v_rest_normal;
in vec4 v_shadow;
flat in float v_label;
uniform sampler2D u_texture;
uniform sampler2D u_shadow;
uniform sampler2D u_noise;     // slopes of a noise that repeats in rg, the noise in b
uniform vec3 u_eye;
uniform int u_kind;        // 0 texture by uv, 1 cloth laid over the rest pose, 2 hair, 3 skin, 4 plain, 5 eye
uniform vec3 u_tint;
uniform float u_scale;     // repeats a metre of a cloth
uniform float u_gloss;
uniform float u_folds;
uniform vec3 u_eye_axis;
uniform vec3 u_key_to;     // directions to the lights
uniform vec3 u_key;        // colours of the lights
uniform vec3 u_fill_to;
uniform vec3 u_fill;
uniform vec3 u_sky;
uniform vec3 u_ground;
uniform vec3 u_side;       // ambient light that comes from u_side_to more than from the other side
uniform vec3 u_side_to;
uniform float u_exposure;
uniform float u_shadow_strength;
layout(location = 0) out vec4 o_color;
layout(location = 1) out vec4 o_label;

float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
vec3 linear(vec3 c) { return pow(c, vec3(2.2)); }

float lit(vec3 normal) {
    vec3 p = v_shadow.xyz / v_shadow.w * 0.5 + 0.5;
    float bias = 0.004 + 0.008 * (1.0 - abs(dot(normal, u_key_to)));
    float turn = hash(gl_FragCoord.xy) * 6.283;
    float sum = 0.0;
    for (int i = 0; i < 4; i++) {
        float a = turn + 1.571 * float(i);
        float r = (0.6 + 0.9 * float(i) * 0.33) / 512.0 * 1.6;
        sum += texture(u_shadow, p.xy + r * vec2(cos(a), sin(a))).r < p.z - bias ? 0.0 : 1.0;
    }
    return mix(1.0, sum * 0.25, u_shadow_strength);
}

void main() {
    vec3 view = normalize(u_eye - v_position);
    vec3 normal = normalize(v_normal);
    if (dot(normal, view) < 0.0 && !gl_FrontFacing) normal = -normal;
    vec3 albedo;
    float gloss = u_gloss;
    if (u_kind == 1) {
        vec3 r = v_rest * u_scale;
        vec3 n = abs(v_rest_normal);
        vec2 at = n.y > n.x ? r.xz : r.yz;
        if (n.z > 0.9) at = r.xy;
        albedo = linear(texture(u_texture, at).rgb) * u_tint;
    } else if (u_kind == 2) {
        vec4 t = texture(u_texture, v_uv);
        albedo = linear(t.rgb) * u_tint;
    } else if (u_kind == 4) {
        albedo = u_tint;
    } else if (u_kind == 5) {
        float c = dot(normalize(v_rest_normal), u_eye_axis);
        albedo = c > 0.955 ? vec3(0.01) : c > 0.87 ? u_tint : vec3(0.62, 0.58, 0.56);
        gloss = 0.5;
    } else {
        vec4 t = texture(u_texture, v_uv);
        albedo = linear(t.rgb) * u_tint;
    }
    if (u_folds > 0.0) {  // cloth is uneven: a bumped normal and a little colour
        vec3 along = abs(v_rest_normal);
        vec2 at = (along.y > along.x ? v_rest.xz : v_rest.yz) * vec2(2.6, 1.5);
        vec3 coarse = texture(u_noise, at).rgb - 0.5, fine = texture(u_noise, at * 2.7 + 0.37).rgb - 0.5;
        vec2 slope = (coarse.xy + 0.6 * fine.xy) * 2.0 * u_folds;
        vec3 right = normalize(cross(vec3(0.0, 0.0, 1.0), normal) + vec3(1e-4, 0.0, 0.0));
        normal = normalize(normal + slope.x * right + slope.y * cross(normal, right));
        albedo *= 1.0 + 0.25 * coarse.b;
    }
    float shade = lit(normal);
    float wrap = u_kind == 3 ? 0.25 : u_kind == 2 ? 0.4 : 0.08;
    float key = max(0.0, (dot(normal, u_key_to) + wrap) / (1.0 + wrap));
    vec3 key_light = u_key * key * shade;
    if (u_kind == 3) {  // light that passes below the skin reddens the edge of the shadow
        float facing = dot(normal, u_key_to);
        float edge = smoothstep(-0.3, 0.15, facing) - smoothstep(0.05, 0.5, facing);
        key_light += u_key * shade * vec3(0.10, 0.025, 0.01) * max(edge, 0.0);
    }
    float fill = max(0.0, dot(normal, u_fill_to));
    vec3 around = mix(u_ground, u_sky, 0.5 + 0.5 * normal.z);
    around += u_side * max(0.0, 0.3 + 0.7 * dot(normal, u_side_to));
    vec3 color = albedo * (key_light + u_fill * fill + around);
    vec3 half_way = normalize(view + u_key_to);
    float power = mix(8.0, 70.0, gloss);
    float fresnel = 0.04 + 0.5 * pow(1.0 - max(0.0, dot(view, normal)), 5.0);
    color += u_key * shade * gloss * 0.35 * pow(max(0.0, dot(normal, half_way)), power);
    color += around * fresnel * gloss * 0.5;
    color *= u_exposure;
    color = color * (1.0 + color * 0.10) / (1.0 + color * 0.50);  // as film does
    o_color = vec4(pow(clamp(color, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
    o_label = vec4(v_label / 255.0, 0.0, 0.0, 1.0);
}
"""
