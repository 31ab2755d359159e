"""A Ray cluster of two nodes on this machine: prints its address, and ends with its input."""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    head = {"num_cpus": 2, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
