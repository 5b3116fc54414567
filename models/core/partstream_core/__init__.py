"""Values and algorithms shared by server, client, training and evaluation; free of torch."""
