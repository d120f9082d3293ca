"""The site that people look at: static pages beside the index, and small JSON files for what moves.

Who calls: publication, with the projects it touched (library/wheel_publication.py), and the command ``piwheels-builder site``.
``refresh`` asks ``projects`` and ``overview`` what there is, ``project_view`` and ``home_view`` turn that into what a page says,
``pages`` renders, and the published tree (index/tree.py) takes it in.
"""
