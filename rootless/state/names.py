"""Names for containers that were given none: an adjective and somebody worth remembering."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "able agile amber bold brave bright brisk calm candid clear clever cosmic crisp curious daring deft eager early "
    "earnest fair fearless fond frank fresh gentle glad golden grand happy hardy honest humble jolly keen kind light "
    "lively lucid lucky merry mild modest neat nimble noble open patient plain polite proud quick quiet rapid ready "
    "serene sharp silent simple smart snug solid sound spry steady still sunny swift tidy tough trusty vivid warm "
    "wise witty young zealous"
).split()
_PEOPLE = (
    "allen babbage backus bell bernerslee booth borg boyle brooks cerf cori curie darwin diffie dijkstra einstein "
    "engelbart euler fermat franklin galileo gauss goldberg hamilton hamming hellman hertz hopper huffman jackson "
    "johnson kahn kalman kay keller kepler kernighan knuth lamarr lamport leibniz liskov lovelace maxwell mcnulty "
    "meitner mendel mirzakhani napier nash neumann newton noether noyce pascal pasteur perlman pike ritchie rubin "
    "sammet shannon shaw snow stallman tesla thompson torvalds turing volta wilson wing wozniak yonath"
).split()


def random_name(attempt: int) -> str:
    """A random name; from the third attempt on with a number, so that one is found in the end."""
    first, second, number = os.urandom(3)
    name = f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_PEOPLE[second % len(_PEOPLE)]}"
    return name if attempt < 3 else f"{name}{number}"
