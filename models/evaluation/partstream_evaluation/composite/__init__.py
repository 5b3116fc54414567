"""Made video clips with exact truth: people cut out of photos, who walk, sway and hide one another."""
