"""Words of the field and of this dashboard, each in a sentence or two."""

from core.config import PROTOCOLS

GLOSSARY = {
    "Alpha": "The weight of the GAT in the fused score, from 0 (the VGAE decides) to 1 (the GAT "
    "decides). The agent picks one for every window.",
    "Anomaly score": "How badly a model of normal traffic reconstructs a window, from 0 (as usual) "
    "to 1. It comes from the VGAE, which has never seen an attack.",
    "Arbitration id": "The number that a CAN frame begins with: it says what the frame is about, "
    "and which frame goes first when two nodes send at once. 11 bits, or 29 in extended frames.",
    "AUROC": "The chance that an attacked window has a higher score than a clean one: how well a "
    "method ranks windows, whatever the threshold.",
    "Best fixed alpha": "One weight for all windows, the best on training windows. What the agent "
    "has to beat to be worth its while.",
    "Calibration": "Whether scores can be read as probabilities: of windows with a score of 0.8, "
    "8 in 10 should be attacked.",
    "CAN bus": "The network that a vehicle's control units share. Every node hears every frame, "
    "and nothing says who sent it; that is what attacks make use of.",
    "Capture": "A recording of a CAN bus, one file. Some say which frames were attacks.",
    "Commissioned": f"One of two protocols ({' and '.join(PROTOCOLS)}): the first windows of a "
    "test capture, without labels, say what is normal on its vehicle, and are not scored.",
    "Cross-fitting": "Scores that the agent learns from come from detectors that did not see that "
    "part of the captures. With in-sample scores the GAT would look perfect.",
    "Decision boundary": "Where the fused score equals the threshold and the verdict flips.",
    "Detection delay": "From the start of an attack's first window to the end of the first one "
    "that is called an attack.",
    "DQN agent": "A small neural network that has learnt, by reward for right verdicts, which "
    "alpha to pick for which pair of scores.",
    "Epsilon": "The share of weights that are tried at random while the agent trains.",
    "F1": "One number for misses and false alarms: the harmonic mean of precision and recall. 1 is "
    "perfect.",
    "False alarm rate": "The share of clean windows that are called attacks.",
    "Fused score": "(1 - alpha) x anomaly score + alpha x GAT probability.",
    "Gap closed": "How much of the way from the better single model to the oracle fusion gets: 1 "
    "is all of it, below 0 is worse than the single model.",
    "GAT": "Graph attention network: the detector that was shown attacks, and gives the "
    "probability that a window holds one. Blind to attacks that it never saw.",
    "MCC": "Matthews' correlation of verdict and truth, from -1 to 1; fair when attacks are rare.",
    "Oracle": "Right wherever either model alone is right: no choice of alpha can do better.",
    "Policy map": "The alpha that the agent picks, for every pair of scores.",
    "Prediction cache": "Both detectors' scores of every window, in one file: what the agent "
    "learns from. It is stale when captures, settings, detectors or the code have changed.",
    "Profile": "What is normal on one vehicle: how often each id comes, how regularly, in which "
    "order, with which payloads.",
    "Q-spread": "What the best alpha is worth more than the worst: where it is small, the choice "
    "hardly matters.",
    "Rehearsed attack": "An attack acted out on clean training traffic, so that GAT and agent "
    "learn from more kinds than were recorded.",
    "Scenario": "One test folder, such as an unknown vehicle under a known attack. The validation "
    "windows are stretches of the training captures that the agent was not trained on.",
    "Stacking": "Logistic regression on both scores: the simplest learnt combination.",
    "Threshold": "The fused score from which a window is called an attack.",
    "VGAE": "Variational graph autoencoder: the detector that knows normal traffic only. It finds "
    "attacks that nobody has seen, and raises false alarms.",
    "Window": "A stretch of consecutive frames (100 by default), looked at as a graph: ids are "
    "nodes, arrows lead from each frame's id to the next one's.",
    "Zero-shot": "One of two protocols: nothing is known of the test vehicle; every window is "
    "scored.",
}
"""Term -> what it means, by letter."""


def found(text: str) -> dict[str, str]:
    """Terms that hold ``text`` in their name or meaning; all of them for an empty one."""
    wanted = text.casefold().strip()
    return {
        term: meaning
        for term, meaning in GLOSSARY.items()
        if wanted in term.casefold() or wanted in meaning.casefold()
    }
