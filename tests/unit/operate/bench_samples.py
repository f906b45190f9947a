"""What serving benchmarks print and save: the real formats, figures made up by us."""

from __future__ import annotations

SGLANG_TABLE = """\
#Input tokens: 640
benchmark_args=Namespace(backend='sglang-oai-chat', host='127.0.0.1', model='acme/Tiny-7B', num_prompts=20, \
random_input_len=128, random_output_len=64, max_concurrency=4, request_rate=inf)

============ Serving Benchmark Result ============
Backend:                                 sglang-oai-chat
Traffic request rate:                    inf
Max request concurrency:                 4
Successful requests:                     20
Benchmark duration (s):                  10.00
Total input tokens:                      640
Total input text tokens:                 640
Total input vision tokens:               0
Total generated tokens:                  1000
Total generated tokens (retokenized):    998
Request throughput (req/s):              2.00
Input token throughput (tok/s):          64.00
Output token throughput (tok/s):         100.00
Peak output token throughput (tok/s):    120.00
Peak concurrent requests:                6
Total token throughput (tok/s):          164.00
Concurrency:                             3.80
----------------End-to-End Latency----------------
Mean E2E Latency (ms):                   1900.00
Median E2E Latency (ms):                 1850.50
---------------Time to First Token----------------
Mean TTFT (ms):                          50.25
Median TTFT (ms):                        48.00
P99 TTFT (ms):                           90.00
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          37.00
Median TPOT (ms):                        36.50
P99 TPOT (ms):                           41.00
---------------Inter-Token Latency----------------
Mean ITL (ms):                           37.10
Median ITL (ms):                         36.40
P95 ITL (ms):                            44.00
P99 ITL (ms):                            60.00
Max ITL (ms):                            212.50
==================================================
"""

# SGLang of 2024: no backend of chat, "Total throughput", other capitals, no peak.
SGLANG_OLD_TABLE = """\
============ Serving Benchmark Result ============
Backend:                                 sglang    
Traffic request rate:                    2.0       
Successful requests:                     99        
Benchmark duration (s):                  50.00     
Total input tokens:                      9900      
Total generated tokens:                  4950      
Total generated tokens (retokenized):    4900      
Request throughput (req/s):              1.98      
Input token throughput (tok/s):          198.00    
Output token throughput (tok/s):         99.00     
Total throughput (tok/s):                297.00    
----------------End-to-End Latency----------------
Mean E2E Latency (ms):                   900.00    
Median E2E Latency (ms):                 800.00    
---------------Time to First Token----------------
Mean TTFT (ms):                          40.00     
Median TTFT (ms):                        30.00     
P99 TTFT (ms):                           70.00     
---------------Inter-token Latency----------------
Mean ITL (ms):                           0.00      
Median ITL (ms):                         0.00      
P99 ITL (ms):                            0.00      
==================================================
"""  # noqa: W291 - both tools pad their values

VLLM_TABLE = """\
INFO 11-20 10:00:00 [__init__.py:1] Automatically detected platform xpu.
$ vllm bench serve --model acme/Tiny-7B --dataset-name random --random-input-len=128 --random-output-len 64 \
--num-prompts 20 --max-concurrency 4 --port 8000
Starting initial single prompt test run...
Traffic request rate: inf
Burstiness factor: 1.0 (Poisson process)
Maximum request concurrency: 4
100%|##########| 20/20 [00:10<00:00,  2.00it/s]
tip: install termplotlib and gnuplot to plot the metrics
============ Serving Benchmark Result ============
Successful requests:                     18        
Failed requests:                         2         
Maximum request concurrency:             4         
Benchmark duration (s):                  10.00     
Total input tokens:                      2304      
Total generated tokens:                  1152      
Request throughput (req/s):              1.80      
Output token throughput (tok/s):         115.20    
Peak output token throughput (tok/s):    130.00    
Peak concurrent requests:                7.00      
Total Token throughput (tok/s):          345.60    
---------------Time to First Token----------------
Mean TTFT (ms):                          50.00     
Median TTFT (ms):                        49.00     
P50 TTFT (ms):                           49.00     
P99.9 TTFT (ms):                         95.00     
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          30.00     
Median TPOT (ms):                        29.00     
P99 TPOT (ms):                           33.00     
---------------Inter-token Latency----------------
Mean ITL (ms):                           30.10     
Median ITL (ms):                         29.10     
P99 ITL (ms):                            33.10     
----------------End-to-end Latency----------------
Mean E2EL (ms):                          1950.00   
Median E2EL (ms):                        1940.00   
P99 E2EL (ms):                           2100.00   
==================================================
"""  # noqa: W291

VLLM_DOCUMENT = {
    "date": "20261120-100000",
    "endpoint_type": "openai",
    "label": None,
    "model_id": "acme/Tiny-7B",
    "tokenizer_id": "acme/Tiny-7B",
    "num_prompts": 20,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 4,
    "duration": 10.0,
    "completed": 18,
    "total_input_tokens": 2304,
    "total_output_tokens": 1152,
    "request_throughput": 1.8,
    "request_goodput:": None,
    "output_throughput": 115.2,
    "total_token_throughput": 345.6,
    "input_lens": [128, 128],
    "errors": ["", "Traceback (most recent call last):\nValueError: too long", "Bad Request", "Bad Request"],
    "mean_ttft_ms": 50.0,
    "median_ttft_ms": 49.0,
    "std_ttft_ms": 3.0,
    "p99_ttft_ms": 90.0,
    "mean_tpot_ms": 30.0,
    "median_tpot_ms": 29.0,
    "std_tpot_ms": 1.0,
    "p99_tpot_ms": 33.0,
    "mean_itl_ms": 30.1,
    "median_itl_ms": 29.1,
    "std_itl_ms": 2.0,
    "p99_itl_ms": 33.1,
    "mean_e2el_ms": 1950.0,
    "p99_e2el_ms": 2100.0,
}

SGLANG_DOCUMENT = {
    "tag": None,
    "backend": "sglang",
    "dataset_name": "random",
    "request_rate": float("inf"),
    "max_concurrency": 4,
    "sharegpt_output_len": None,
    "random_input_len": 128,
    "random_output_len": 64,
    "random_range_ratio": 1.0,
    "duration": 10.0,
    "completed": 20,
    "total_input_tokens": 2560,
    "total_output_tokens": 1280,
    "total_output_tokens_retokenized": 1279,
    "request_throughput": 2.0,
    "input_throughput": 256.0,
    "output_throughput": 128.0,
    "mean_e2e_latency_ms": 1900.0,
    "median_e2e_latency_ms": 1890.0,
    "p99_e2e_latency_ms": 2000.0,
    "mean_ttft_ms": 50.0,
    "median_ttft_ms": 49.0,
    "std_ttft_ms": 3.0,
    "p99_ttft_ms": 90.0,
    "mean_itl_ms": 29.0,
    "p95_itl_ms": 31.0,
    "p99_itl_ms": 33.0,
    "max_itl_ms": 50.0,
    "concurrency": 3.8,
    "accept_length": None,
}

ONE_BATCH_LOG = """\
$ python -m sglang.bench_one_batch --batch-size 4 --input 1024 --output 8 --model acme/Tiny-7B --device xpu
Warmup ...
Prefill. latency: 0.46000 s, throughput:   8904.00 token/s
Decode 0. Batch size: 4, latency: 0.29000 s, throughput:     13.79 token/s
Decode.  median latency: 0.01200 s, median throughput:    333.33 token/s
Total. latency:  1.112 s, throughput:   3981.76 token/s
Benchmark ...
Prefill. latency: 0.40000 s, throughput:  10240.00 token/s
Decode 0. Batch size: 4, latency: 0.01300 s, throughput:    307.69 token/s
Decode 1. Batch size: 4, latency: 0.01000 s, throughput:    400.00 token/s
Decode.  median latency: 0.01000 s, median throughput:    400.00 token/s
Total. latency:  0.480 s, throughput:   8600.00 token/s
"""

# Before 2025: steps without number and batch.
ONE_BATCH_OLD_LOG = """\
Warmup ...
Prefill. latency: 4.00000 s, throughput:    256.00 token/s
Decode.  latency: 1.40000 s, throughput:      0.71 token/s
Total. latency:  6.000 s, throughput:    170.00 token/s
Benchmark ...
Prefill. latency: 0.32000 s, throughput:   3200.00 token/s
Decode.  latency: 0.01600 s, throughput:     62.50 token/s
Decode.  median latency: 0.01600 s, median throughput:     62.50 token/s
Total. latency:  2.300 s, throughput:    500.00 token/s
"""

ONE_BATCH_DOCUMENT = {
    "run_name": "default",
    "batch_size": 8,
    "input_len": 1024,
    "output_len": 16,
    "prefill_latency": 0.5,
    "prefill_throughput": 16384.0,
    "median_decode_latency": 0.02,
    "median_decode_throughput": 400.0,
    "total_latency": 0.8,
    "overall_throughput": 10400.0,
}
