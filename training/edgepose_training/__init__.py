"""Training side of edgepose: data, models, losses and the scripts that use them (`python training/distill.py`)."""
