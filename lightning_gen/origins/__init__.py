"""Where checkpoints come from: names such as `zoo:digits_vae` and `hf://user/name`, and folders of safetensors.

`places.py` makes a file of a name, `zoo.py` finds those that plugins bring, `hub.py` downloads from the Hugging Face
Hub, and `weights.py` reads and writes the folder that is shared.
"""
