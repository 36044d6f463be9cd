"""Models for others: a folder of safetensors with a model card, programs without lightning-gen, uploads to the Hub.

`program.py` says what a program computes, `formats.py` writes it, `snippet.py` shows how to use it, `card.py` writes
the model card, `folder.py` the whole folder, and `upload.py` sends it to the Hugging Face Hub.
"""
