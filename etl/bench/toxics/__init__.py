"""What ``etl bench chaos`` does to the platform: a network that fails, a disk that fills, clocks that step."""
