"""edgepose-app: whole-body pose from a webcam, a video, a stream or pictures, in a window or without one.

Only `bridge`, `view`, `controls` and `window` know Qt; everything else runs on a machine without it.
"""
