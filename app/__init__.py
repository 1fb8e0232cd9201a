"""edgepose-app: whole-body pose from a webcam, a video, a stream or images, in a window or without one.

`sources` bring frames, the engine runs the estimator on them, `outputs` keep the results and `gui` shows them.
Only `gui` knows Qt; everything else runs on a machine without it.
"""
