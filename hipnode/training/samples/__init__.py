"""From manifests to batches: rows, pixels, drawn fractures and implants, augmentation."""
