"""Graders: `exact` compares texts, `math` numbers, fractions and mathematics."""
