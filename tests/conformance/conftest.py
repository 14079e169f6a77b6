import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that "faulty_system:train" can be imported in every import mode
