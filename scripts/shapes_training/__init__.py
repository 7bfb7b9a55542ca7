"""Training of the project's own small networks on generated shapes.

One module per idea: `yolov8` and `classifiers` hold the architectures, `detection_loss` the
detector's training target, `data` the rendered images and their augmentation, `evaluation` the
metrics, `tasks` what a detector and a classifier do differently, `loop` the training loop that
both share, and `export` the ONNX file and its model card.  `scripts/train_shapes.py` starts it.
"""
