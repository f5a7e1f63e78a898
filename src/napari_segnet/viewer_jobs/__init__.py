"""What the viewer has done by its second worker process: measuring, comparing, checking. Needs no network, no torch.

Arrays come as ``.npy`` files, answers are left as files in the folder of the job.
"""
