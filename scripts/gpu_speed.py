def memory(*a): return {}
def fid(*a): return {}
def speed(*a): return {}
SPEEDS = {}
