"""Statistics and calibration: arrays in, numbers out."""
