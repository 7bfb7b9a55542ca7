"""What the documentation takes from the code, so that the two cannot drift apart.

``axes``, ``columns``, ``commands``, ``targets`` and ``sources`` each write one page of Markdown;
``hook`` hands them to MkDocs. All but ``hook`` need nothing but the project.
"""
