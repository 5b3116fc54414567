"""`partstream-evaluate masks`: masks of people against folders of pictures and true masks."""
