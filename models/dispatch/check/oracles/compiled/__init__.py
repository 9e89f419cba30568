"""The oracles again, compiled: the same mathematics as beside this package, for thousands of devices.

Everything here is the checker's own: it shares no line with the fast path, whose oracles it is to contradict where they
are wrong.  Each function says which of the oracles of one device it repeats; tests hold the two together.
"""
