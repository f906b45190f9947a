"""How a container is given GPUs and rights: shared by the rooms of images and of launches."""
