"""A day that was dispatched: its result folder, and the report that shows it.

``result_folder`` is the form (what a demo, a replay or a real event leaves behind), ``write.write_report``
turns such a folder into one HTML file, ``figures`` draws, ``tables`` and ``page`` say it in words, ``words``
speaks both languages.
``statement`` is another report: what an event came to in money, for accountants, as CSV, JSON and on paper.
"""
