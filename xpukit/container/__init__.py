"""How a container is given GPUs and rights: shared by the images' and the launches' rooms, which do not know each other."""
