"""The demo's room furnished in each of the thirty styles, rendered: pictures of styles that no network here has learnt.

patterns, lamps, seats, walls and plants add to what ``dollhouse.render`` has; calm, bold, old, flowers and far say
what each style is made of; dressing puts a style into the room and photographs it. Nothing that trains or judges a
network sees any of it.
"""
