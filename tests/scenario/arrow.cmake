# SPDX-License-Identifier: Apache-2.0
# Segments, opened with other people's programs; ./dev test puts those into build/python.
set(POMAI_PYTHON_PACKAGES ${CMAKE_SOURCE_DIR}/build/python CACHE PATH "Where pyarrow and polars are")
add_executable(write_segments support/write_segments.c)
target_link_libraries(write_segments PRIVATE pomai_test)
target_include_directories(write_segments PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME scenario.arrow COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scenario/test_arrow.py
    $<TARGET_FILE:write_segments> ${POMAI_PYTHON_PACKAGES})
set_tests_properties(scenario.arrow PROPERTIES TIMEOUT 300 LABELS scenario SKIP_RETURN_CODE 77)
