"""What a person starts: a training, a pre-training, a cross-validation."""
