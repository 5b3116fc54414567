"""How well `partstream follow` keeps to one person of clips with masks."""
