"""How the miniature world is drawn; `sbr.mini.render` is the way in."""
