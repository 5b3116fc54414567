"""Rendered people: cut-outs of synthetic bodies with exact parts, joints and identities.

`cache` reads what was rendered and needs nothing but NumPy; everything else needs the optional extra
`partstream-models[people3d]` (anny, moderngl), an EGL library and the assets of the data folder.
"""
