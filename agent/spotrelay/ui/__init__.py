"""`spotrelay ui`: runs in a browser, on this computer alone.

    security   who may ask: this computer's own page, opened by the address that was printed
    server     routes, and how each answers; nothing is decided here
    poller     what the store says, looked at once for all pages, and only while there are any
    events     what has changed, to each page, as server-sent events
    board      the list of runs          story      one run, as its timeline shows it
    logbook    windows into the log      files      the newest snapshot, and its files
    actions    stop and resume: what a person may ask for
    static/    the page: HTML, CSS and ES modules as they are; nothing is built, nothing is loaded from elsewhere

What lies in a bucket is foreign: names, log lines and messages travel as JSON or plain text and become text nodes.
There is no markup that is put together from strings, on either side, and the page's policy forbids it.
"""
