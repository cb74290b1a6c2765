"""training: data sets, augmentation, training and evaluation of the networks that ``model`` builds."""
