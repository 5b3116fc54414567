"""The way of one frame through a stream: features, inference, assembly, tracking, encoding.

`session` calls the stages in this order: `features` (which frames are key frames, by `frame_changes` and
`identity_events`; `propagation` along `host_flow` or the network's flow), `inference`, `assembly` (with
`upsampling`), `tracking`, `encoding` (with `outlines`). `values` holds what passes between them. No I/O.

Shape suffixes of flow: H, W of a small image of the network's input; h, w of the feature map; the 2 of a flow
is (x, y). Flow leads from the current frame to the reference, in pixels of the feature map.
"""
