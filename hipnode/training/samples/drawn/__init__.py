"""What is drawn into real radiographs: fractures and implants, where the landmarks say."""
