"""How do the floors below join into the main job? One function a stage; stages meet only through files."""
