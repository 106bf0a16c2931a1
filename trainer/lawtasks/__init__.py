"""Questions about a corpus of law whose answers need no judge, because the corpus itself gives the key.

`python -m trainer lawtasks CORPUS` writes them from a file with one section a line (`law_name`, `section_num`, `text`),
split by law: no law has questions on both sides. The laws of both sides stay in the index that is searched.
"""
