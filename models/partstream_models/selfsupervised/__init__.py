"""Learning from unlabelled video: segmentation, optical flow and joints correct one another."""
