"""`lightning-gen view`, a local web app over run folders: `app.py` has its addresses, `access.py` who may use them."""
