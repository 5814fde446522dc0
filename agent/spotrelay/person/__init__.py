"""The person's side of a run: what a laptop reads of it, and what it may ask for. No terminal, no AWS of its own: a
store and a queue are given by whoever knows which stack it is (`cli/place.py`), and what comes back is plain data that
the command line prints, the page draws and a test compares.

    runs      which runs there are, and which one a name, or the beginning of one, means
    glance    how one run stands, in a number of requests that does not grow with its history
    history   all of it: attempt by attempt

The bucket is the one truth, and anybody may have put anything there. What a person reads therefore never fails for one
object's sake: a run whose objects are damaged is shown as such, with the object's name; what is no run is not shown.
"""
