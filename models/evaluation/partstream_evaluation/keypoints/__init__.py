"""`partstream-evaluate joints`: joints against those of a teacher on real clips."""
