"""The networks, one short file each, assembled in plain code."""

from edgepose_training.models.posenet import HeatmapAux, PoseNet, build_pose_net

__all__ = ["HeatmapAux", "PoseNet", "build_pose_net"]
