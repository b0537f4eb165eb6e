"""How it is learned: the state, one pure step, meshes, checkpoints and the loop."""
