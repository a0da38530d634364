"""How good models are: published protocols as arithmetic on scores and boxes, and the files that those protocols read."""
