"""How is an evaluation shown to a reader: plots, tables on the terminal, pages?"""
