"""The networks, one short file each, assembled in plain code; `posenet.build_pose_net` names them all."""

from edgepose_training.models.posenet import BACKBONES, HEADS, HeatmapAux, PoseNet, build_pose_net

__all__ = ["BACKBONES", "HEADS", "HeatmapAux", "PoseNet", "build_pose_net"]
