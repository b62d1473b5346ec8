# Times torchvision's mobilenet_v2: each line of input is a batch and a number of times.
import json
import sys
import time

import torch
import torchvision

torch.set_num_threads(int(sys.argv[1]))
model = torchvision.models.mobilenet_v2(weights=None).eval()
with torch.no_grad():
    for line in sys.stdin:
        batch, times = map(int, line.split())
        images = torch.randn(batch, 3, 224, 224)
        seconds = []
        for _ in range(times):
            start, busy = time.perf_counter(), time.process_time()
            model(images)
            seconds.append([time.perf_counter() - start, time.process_time() - busy])
        print(json.dumps(seconds), flush=True)
