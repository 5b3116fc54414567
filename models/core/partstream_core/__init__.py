"""What every side of partstream shares: pure, typed and free of torch."""
