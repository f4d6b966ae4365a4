"""How is a classifier built, trained, saved, loaded and asked? The torch half of melascope (`melascope[train]`)."""
