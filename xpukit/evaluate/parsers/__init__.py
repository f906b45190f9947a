"""What the vendors' measuring tools print, as typed readings. Pure functions of text; none of them raises."""
